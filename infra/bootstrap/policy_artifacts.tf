# Image and its builds, model files, certificate, and Terraform's state if it is in a bucket.

locals {
  bucket_arn = "arn:${local.partition}:s3:::${var.name}-artifacts-*"
  state_arn  = "arn:${local.partition}:s3:::${var.state_bucket}"
}

data "aws_iam_policy_document" "artifacts" {
  #checkov:skip=CKV_AWS_356:Registry login and certificate import have no resource-level permissions
  #checkov:skip=CKV_AWS_111:A certificate is imported with the project's tag only
  #checkov:skip=CKV_AWS_109:Only the run's own bucket, by name
  statement {
    sid       = "RegistryLogin"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid = "OwnRepository"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchDeleteImage",
      "ecr:BatchGetImage",
      "ecr:CompleteLayerUpload",
      "ecr:CreateRepository",
      "ecr:DeleteLifecyclePolicy",
      "ecr:DeleteRepository",
      "ecr:DescribeImageScanFindings",
      "ecr:GetDownloadUrlForLayer",
      "ecr:GetLifecyclePolicy",
      "ecr:InitiateLayerUpload",
      "ecr:ListImages",
      "ecr:PutImage",
      "ecr:PutImageScanningConfiguration",
      "ecr:PutImageTagMutability",
      "ecr:PutLifecyclePolicy",
      "ecr:TagResource",
      "ecr:UntagResource",
      "ecr:UploadLayerPart",
    ]
    resources = ["arn:${local.partition}:ecr:${var.region}:${local.account}:repository/${var.name}/*"]
  }

  statement {
    sid = "OwnBuilds"
    actions = [
      "codebuild:BatchGetBuilds",
      "codebuild:CreateProject",
      "codebuild:DeleteProject",
      "codebuild:StartBuild",
      "codebuild:StopBuild",
      "codebuild:UpdateProject",
    ]
    resources = ["arn:${local.partition}:codebuild:${var.region}:${local.account}:project/${var.name}-*"]
  }

  statement {
    sid = "LogOfBuilds"
    actions = [
      "logs:CreateLogGroup",
      "logs:DeleteLogGroup",
      "logs:GetLogEvents",
      "logs:PutRetentionPolicy",
      "logs:TagResource",
      "logs:UntagResource",
    ]
    resources = ["arn:${local.partition}:logs:${var.region}:${local.account}:log-group:${var.name}-*"]
  }

  statement {
    sid = "OwnBucket"
    actions = [
      "s3:CreateBucket",
      "s3:DeleteBucket",
      "s3:DeleteBucketPolicy",
      "s3:GetAccelerateConfiguration",
      "s3:GetBucket*",
      "s3:GetEncryptionConfiguration",
      "s3:GetLifecycleConfiguration",
      "s3:GetReplicationConfiguration",
      "s3:ListBucket",
      "s3:ListBucketMultipartUploads",
      "s3:ListBucketVersions",
      "s3:PutBucketOwnershipControls",
      "s3:PutBucketPolicy",
      "s3:PutBucketPublicAccessBlock",
      "s3:PutBucketTagging",
      "s3:PutBucketVersioning",
      "s3:PutEncryptionConfiguration",
    ]
    resources = [local.bucket_arn]
  }

  statement {
    sid = "OwnObjects"
    actions = [
      "s3:AbortMultipartUpload",
      "s3:DeleteObject",
      "s3:DeleteObjectVersion",
      "s3:GetObject",
      "s3:PutObject",
    ]
    resources = ["${local.bucket_arn}/*"]
  }

  statement {
    sid       = "ImportTagged"
    actions   = ["acm:AddTagsToCertificate", "acm:ImportCertificate"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/project"
      values   = [var.project]
    }
  }

  statement {
    sid = "OwnCertificates"
    actions = [
      "acm:AddTagsToCertificate",
      "acm:DeleteCertificate",
      "acm:DescribeCertificate",
      "acm:GetCertificate",
      "acm:ImportCertificate",
      "acm:RemoveTagsFromCertificate",
    ]
    resources = ["arn:${local.partition}:acm:${var.region}:${local.account}:certificate/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/project"
      values   = [var.project]
    }
  }

  dynamic "statement" {
    for_each = var.state_bucket == "" ? [] : [
      { sid = "StateBucket", actions = ["s3:ListBucket"], on = local.state_arn },
      { sid = "State", actions = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], on = "${local.state_arn}/${var.name}/*" },
    ]

    content {
      sid       = statement.value.sid
      actions   = statement.value.actions
      resources = [statement.value.on]
    }
  }
}
