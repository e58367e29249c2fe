# The bucket for model files: private, encrypted, deleted with the stack.

resource "aws_s3_bucket" "artifacts" {
  #checkov:skip=CKV_AWS_18:A log bucket would outlive this one
  #checkov:skip=CKV_AWS_144:The models can be rebuilt from the run, so no second region needs a copy
  #checkov:skip=CKV_AWS_145:Encrypted with S3's own key; our own KMS key would outlive the run by at least a week
  #checkov:skip=CKV2_AWS_61:The bucket lives as long as the run, and the provider waits 55 s for a lifecycle rule
  #checkov:skip=CKV2_AWS_62:Nothing uses its events
  bucket_prefix = "${var.name}-artifacts-" # plus a random suffix: bucket names are globally unique
  force_destroy = true
}

resource "aws_s3_bucket_public_access_block" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id

  versioning_configuration {
    status = "Enabled"
  }
}

data "aws_iam_policy_document" "artifacts" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.artifacts.arn, "${aws_s3_bucket.artifacts.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "artifacts" {
  bucket = aws_s3_bucket.artifacts.id
  policy = data.aws_iam_policy_document.artifacts.json

  depends_on = [aws_s3_bucket_public_access_block.artifacts]
}
