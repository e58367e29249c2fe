# Builds images inside the region: Triton's base alone has about 9 GB, and a push from a user's
# machine would take an hour and more. Stage 03 uploads the models as a zip and starts a build.

locals {
  image_project = "${var.name}-images"
  images_zip    = "images/source.zip" # each build names a version of this object
}

data "aws_iam_policy_document" "trust_codebuild" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["codebuild.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:codebuild:${var.region}:${local.account_id}:project/${local.image_project}"]
    }
  }
}

# docs.aws.amazon.com: "Create a CodeBuild service role", "IAM permissions for pushing an image".
# The role may not create log groups, so the one of this file cannot come back after a destroy.
data "aws_iam_policy_document" "build_images" {
  #checkov:skip=CKV_AWS_356:A registry login has no resource-level permissions
  statement {
    sid       = "ReadSource"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${aws_s3_bucket.artifacts.arn}/${local.images_zip}"]
  }

  statement {
    sid       = "KnowBucket"
    actions   = ["s3:GetBucketAcl", "s3:GetBucketLocation"]
    resources = [aws_s3_bucket.artifacts.arn]
  }

  statement {
    sid       = "RegistryLogin"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid = "Push"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:CompleteLayerUpload",
      "ecr:InitiateLayerUpload",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
    ]
    resources = [aws_ecr_repository.triton.arn]
  }

  statement {
    sid       = "WriteLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.images.arn}:*"]
  }
}

resource "aws_iam_role" "build_images" {
  name                 = local.image_project
  assume_role_policy   = data.aws_iam_policy_document.trust_codebuild.json
  permissions_boundary = local.boundary
}

resource "aws_iam_role_policy" "build_images" {
  name   = "build-and-push-images"
  role   = aws_iam_role.build_images.id
  policy = data.aws_iam_policy_document.build_images.json
}

resource "aws_cloudwatch_log_group" "images" {
  #checkov:skip=CKV_AWS_158:Encrypted with CloudWatch's own key; our own KMS key would outlive the run by at least a week
  #checkov:skip=CKV_AWS_338:The log is deleted with the stack
  name              = local.image_project
  retention_in_days = 1
}

resource "aws_codebuild_project" "images" {
  #checkov:skip=CKV_AWS_147:It has no artifacts; our own KMS key would outlive the run by at least a week
  #checkov:skip=CKV_AWS_316:Docker needs it; the host is thrown away after the build
  name           = local.image_project
  description    = "Builds the images of ${var.name} and pushes them to its repository."
  service_role   = aws_iam_role.build_images.arn
  build_timeout  = 60 # minutes
  queued_timeout = 30 # minutes

  source {
    type     = "S3"
    location = "${aws_s3_bucket.artifacts.bucket}/${local.images_zip}"

    buildspec = yamlencode({
      version = 0.2
      env = {
        # a plain manifest, not an index with an attestation: its digest is what is deployed
        variables          = { BUILDX_NO_DEFAULT_ATTESTATIONS = "1" }
        exported-variables = ["DIGEST"]
      }
      phases = {
        pre_build = {
          commands = ["aws ecr get-login-password | docker login --username AWS --password-stdin \"$${IMAGE%%/*}\""]
        }
        build = {
          on-failure = "ABORT" # otherwise CodeBuild goes on to the push
          commands   = ["docker build --tag \"$IMAGE\" ."]
        }
        post_build = {
          commands = [
            "docker push \"$IMAGE\"",
            "export DIGEST=$(docker inspect --format '{{index .RepoDigests 0}}' \"$IMAGE\" | cut -d @ -f 2)",
          ]
        }
      }
    })
  }

  environment {
    type                        = "LINUX_CONTAINER"
    compute_type                = "BUILD_GENERAL1_MEDIUM" # 128 GB of disk; the base fills 20 GB, unpacked
    image                       = "aws/codebuild/amazonlinux-x86_64-standard:5.0"
    image_pull_credentials_type = "CODEBUILD"
    privileged_mode             = true # for docker
  }

  artifacts {
    type = "NO_ARTIFACTS"
  }

  logs_config {
    cloudwatch_logs {
      group_name = aws_cloudwatch_log_group.images.name
    }
  }

  depends_on = [aws_iam_role_policy.build_images]
}
