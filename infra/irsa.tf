# Roles of service accounts (IRSA): one per service account, with only the permissions it needs.

locals {
  oidc_host = trimprefix(aws_iam_openid_connect_provider.this.url, "https://")

  # The keys are known when planning; the policies are not.
  service_accounts = {
    triton = {
      subject = "${local.contract.namespaces.triton}:${local.contract.serviceAccounts.triton}"
      policy  = data.aws_iam_policy_document.read_models.json
    }
    alb_controller = {
      subject = "${local.contract.namespaces.system}:${local.contract.serviceAccounts.albController}"
      policy  = data.aws_iam_policy_document.alb_controller.minified_json
    }
    cluster_autoscaler = {
      subject = "${local.contract.namespaces.system}:${local.contract.serviceAccounts.clusterAutoscaler}"
      policy  = data.aws_iam_policy_document.cluster_autoscaler.json
    }
  }
}

data "aws_iam_policy_document" "trust_service_account" {
  for_each = toset(["triton", "alb_controller", "cluster_autoscaler"])

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.this.arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc_host}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.oidc_host}:sub"
      values   = ["system:serviceaccount:${local.service_accounts[each.key].subject}"]
    }
  }
}

resource "aws_iam_role" "service_account" {
  for_each = data.aws_iam_policy_document.trust_service_account

  name                 = "${var.name}-${replace(each.key, "_", "-")}"
  assume_role_policy   = each.value.json
  permissions_boundary = local.boundary
}

# Inline: it is deleted with its role, and nothing else can use it.
resource "aws_iam_role_policy" "service_account" {
  for_each = aws_iam_role.service_account

  name   = each.key
  role   = each.value.id
  policy = local.service_accounts[each.key].policy
}

# --- Triton: read access to its models only ---

data "aws_iam_policy_document" "read_models" {
  statement {
    sid       = "ListPrefix"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.artifacts.arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = [local.contract.models.prefix, "${local.contract.models.prefix}/*"]
    }
  }

  statement {
    sid       = "ReadPrefix"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.artifacts.arn}/${local.contract.models.prefix}/*"]
  }
}

# --- cluster autoscaler: reads everything, changes only this cluster's groups ---

data "aws_iam_policy_document" "cluster_autoscaler" {
  #checkov:skip=CKV_AWS_356:AWS has no resource-level permissions for these read actions
  statement {
    sid = "Look"
    actions = [
      "autoscaling:DescribeAutoScalingGroups",
      "autoscaling:DescribeAutoScalingInstances",
      "autoscaling:DescribeLaunchConfigurations",
      "autoscaling:DescribeScalingActivities",
      "ec2:DescribeImages",
      "ec2:DescribeInstanceTypes",
      "ec2:DescribeLaunchTemplateVersions",
      "ec2:GetInstanceTypesFromInstanceRequirements",
    ]
    resources = ["*"]
  }

  statement {
    sid       = "LookAtNodeGroups"
    actions   = ["eks:DescribeNodegroup"]
    resources = ["arn:${local.partition}:eks:${var.region}:${local.account_id}:nodegroup/${var.name}/*"]
  }

  statement {
    sid       = "ScaleThisCluster"
    actions   = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
    resources = ["arn:${local.partition}:autoscaling:${var.region}:${local.account_id}:autoScalingGroup:*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/k8s.io/cluster-autoscaler/${var.name}"
      values   = ["owned"]
    }
  }
}
