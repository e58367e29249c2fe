# The upper limit for every role of the stack: the union of what nodes, controllers, Triton, image builds and the
# dead man's switch need. Each role's own policy is much narrower; this is a second safeguard.

data "aws_iam_policy_document" "boundary" {
  #checkov:skip=CKV_AWS_111:A boundary grants nothing; it only limits
  #checkov:skip=CKV_AWS_356:A boundary grants nothing; it only limits
  #checkov:skip=CKV_AWS_107:A boundary grants nothing; it only limits
  #checkov:skip=CKV_AWS_108:A boundary grants nothing; it only limits
  #checkov:skip=CKV_AWS_109:A boundary grants nothing; it only limits
  #checkov:skip=CKV_AWS_110:A boundary grants nothing; it only limits
  #checkov:skip=CKV2_AWS_40:A boundary grants nothing; it only limits
  statement {
    sid = "WorkInRegion"
    actions = [
      "acm:DescribeCertificate",
      "acm:ListCertificates",
      "autoscaling:*",
      "cognito-idp:DescribeUserPoolClient",
      "ec2:*",
      "ec2messages:*",
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:BatchImportUpstreamImage",
      "ecr:CompleteLayerUpload",
      "ecr:GetAuthorizationToken",
      "ecr:GetDownloadUrlForLayer",
      "ecr:InitiateLayerUpload",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
      "eks-auth:AssumeRoleForPodIdentity",
      "eks:DescribeCluster",
      "eks:DescribeNodegroup",
      "elasticloadbalancing:*",
      "kms:DescribeKey",
      "logs:CreateLogStream",
      "logs:PutLogEvents",
      "s3:GetBucketAcl",
      "s3:GetBucketLocation",
      "s3:GetObject",
      "s3:GetObjectVersion",
      "s3:ListBucket",
      "ssm:*",
      "ssmmessages:*",
      "waf-regional:*WebACL*",
      "wafv2:*WebACL*",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }

  statement {
    sid       = "GlobalServices"
    actions   = ["iam:GetServerCertificate", "iam:ListServerCertificates", "shield:*Protection", "shield:GetSubscriptionState"]
    resources = ["*"]
  }

  statement {
    sid       = "ServiceLinkedRoles"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "iam:AWSServiceName"
      values   = ["elasticloadbalancing.amazonaws.com"]
    }
  }
}
