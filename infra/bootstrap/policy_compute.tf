# The cluster, its nodes, and the instance launches for both.

locals {
  eks_arns = [for path in ["cluster/${var.name}", "nodegroup/${var.name}/*", "access-entry/${var.name}/*"] :
  "arn:${local.partition}:eks:${var.region}:${local.account}:${path}"]

  # Our groups by name; EKS names a managed node group's group after it.
  group_arns = [for name in ["${var.name}-*", "eks-${var.name}-*"] :
  "arn:${local.partition}:autoscaling:${var.region}:${local.account}:autoScalingGroup:*:autoScalingGroupName/${name}"]
}

data "aws_iam_policy_document" "compute" {
  #checkov:skip=CKV_AWS_111:Every write is limited to the project's tag, the stack's name or its launch template
  #checkov:skip=CKV_AWS_356:Ids are not known in advance; tag and launch template are the limit
  statement {
    sid       = "MakeCluster"
    actions   = ["eks:CreateCluster"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/project"
      values   = [var.project]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }

  statement {
    sid = "OwnCluster"
    actions = [
      "eks:AssociateAccessPolicy",
      "eks:CreateAccessEntry",
      "eks:CreateNodegroup",
      "eks:DeleteAccessEntry",
      "eks:DeleteCluster",
      "eks:DeleteNodegroup",
      "eks:DisassociateAccessPolicy",
      "eks:TagResource",
      "eks:UntagResource",
      "eks:UpdateAccessEntry",
      "eks:UpdateClusterConfig",
      "eks:UpdateClusterVersion",
      "eks:UpdateNodegroupConfig",
      "eks:UpdateNodegroupVersion",
    ]
    resources = local.eks_arns
  }

  statement {
    sid       = "MakeTaggedGroup"
    actions   = ["autoscaling:CreateAutoScalingGroup"]
    resources = local.group_arns

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/project"
      values   = [var.project]
    }
  }

  statement {
    sid = "OwnGroups"
    actions = [
      "autoscaling:CreateOrUpdateTags",
      "autoscaling:DeleteAutoScalingGroup",
      "autoscaling:DeleteTags",
      "autoscaling:ResumeProcesses",
      "autoscaling:SetDesiredCapacity",
      "autoscaling:SetInstanceProtection",
      "autoscaling:SuspendProcesses",
      "autoscaling:UpdateAutoScalingGroup",
    ]
    resources = local.group_arns
  }

  statement {
    sid       = "MakeTaggedTemplate"
    actions   = ["ec2:CreateLaunchTemplate"]
    resources = ["${local.ec2}:launch-template/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/project"
      values   = [var.project]
    }
  }

  statement {
    sid = "ChangeTagged"
    actions = [
      "ec2:CancelSpotInstanceRequests",
      "ec2:CreateLaunchTemplateVersion",
      "ec2:DeleteLaunchTemplate",
      "ec2:DeleteLaunchTemplateVersions",
      "ec2:DeleteSnapshot",
      "ec2:DeleteVolume",
      "ec2:ModifyLaunchTemplate",
      "ec2:TerminateInstances",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/project"
      values   = [var.project]
    }
  }

  # Auto Scaling launches instances itself, but first checks the caller's permission: only with our
  # launch template, and only these instance types.
  statement {
    sid       = "LaunchByTemplate"
    actions   = ["ec2:RunInstances"]
    resources = ["*"]

    condition {
      test     = "ArnLike"
      variable = "ec2:LaunchTemplate"
      values   = ["${local.ec2}:launch-template/*"]
    }
    condition {
      test     = "StringLikeIfExists"
      variable = "ec2:InstanceType"
      values   = var.instance_types
    }
  }

  statement {
    sid       = "TagNew"
    actions   = ["ec2:CreateTags"]
    resources = ["${local.ec2}:*/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values = concat(
        [for action in local.network_creations : trimprefix(action, "ec2:")],
        ["CreateLaunchTemplate", "RunInstances"],
      )
    }
    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/project"
      values   = [var.project]
    }
  }

  # The project's tag cannot be added to other resources.
  statement {
    sid       = "TagOwn"
    actions   = ["ec2:CreateTags", "ec2:DeleteTags"]
    resources = ["${local.ec2}:*/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/project"
      values   = [var.project]
    }
  }
}
