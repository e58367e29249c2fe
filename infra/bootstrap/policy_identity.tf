# Roles of the stack: limited by name and boundary, and usable by five services only. Without the
# boundary, a deployer could create a role with all permissions.

locals {
  role_arns = ["${local.iam}:role/${var.name}-*"]
  attachable = [for name in [
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonEKSClusterPolicy",
    "AmazonEKSWorkerNodePolicy",
    "AmazonEKS_CNI_Policy",
    "AmazonSSMManagedInstanceCore",
  ] : "arn:${local.partition}:iam::aws:policy/${name}"]
}

data "aws_iam_policy_document" "identity" {
  #checkov:skip=CKV_AWS_109:Roles by name prefix, always with the boundary
  #checkov:skip=CKV_AWS_110:The boundary limits whatever these roles are granted
  statement {
    sid       = "BoundedRoles"
    actions   = ["iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"]
    resources = local.role_arns

    condition {
      test     = "ArnEquals"
      variable = "iam:PermissionsBoundary"
      values   = ["${local.iam}:policy${local.path}${var.name}-boundary"]
    }
  }

  statement {
    sid       = "AttachKnownPolicies"
    actions   = ["iam:AttachRolePolicy", "iam:DetachRolePolicy"]
    resources = local.role_arns

    condition {
      test     = "ArnEquals"
      variable = "iam:PolicyARN"
      values   = local.attachable
    }
  }

  statement {
    sid = "OwnRoles"
    actions = [
      "iam:DeleteRole",
      "iam:DeleteRolePolicy",
      "iam:GetRole",
      "iam:GetRolePolicy",
      "iam:ListAttachedRolePolicies",
      "iam:ListInstanceProfilesForRole",
      "iam:ListRolePolicies",
      "iam:TagRole",
      "iam:UntagRole",
      "iam:UpdateAssumeRolePolicy",
      "iam:UpdateRole",
    ]
    resources = local.role_arns
  }

  statement {
    sid       = "HandRolesTo"
    actions   = ["iam:PassRole"]
    resources = local.role_arns

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = [for service in ["autoscaling", "codebuild", "ec2", "eks", "scheduler"] : "${service}.amazonaws.com"]
    }
  }

  statement {
    sid = "OwnInstanceProfiles"
    actions = [
      "iam:AddRoleToInstanceProfile",
      "iam:CreateInstanceProfile",
      "iam:DeleteInstanceProfile",
      "iam:RemoveRoleFromInstanceProfile",
      "iam:TagInstanceProfile",
      "iam:UntagInstanceProfile",
    ]
    resources = ["${local.iam}:instance-profile/${var.name}-*"]
  }

  statement {
    sid = "IssuerOfTheCluster"
    actions = [
      "iam:CreateOpenIDConnectProvider",
      "iam:DeleteOpenIDConnectProvider",
      "iam:GetOpenIDConnectProvider",
      "iam:TagOpenIDConnectProvider",
      "iam:UntagOpenIDConnectProvider",
    ]
    resources = ["${local.iam}:oidc-provider/oidc.eks.${var.region}.amazonaws.com/*"]
  }

  # A new account does not have them; the services create them on first use.
  statement {
    sid       = "ServiceLinkedRoles"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["${local.iam}:role/aws-service-role/*"]

    condition {
      test     = "StringEquals"
      variable = "iam:AWSServiceName"
      values = [for service in ["autoscaling", "eks", "eks-nodegroup", "elasticloadbalancing", "spot"] :
      "${service}.amazonaws.com"]
    }
  }
}
