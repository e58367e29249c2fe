# The image of Triton with its models: a private repository.

resource "aws_ecr_repository" "triton" {
  #checkov:skip=CKV_AWS_136:Encrypted with ECR's own key; our own KMS key would outlive the run by at least a week
  name                 = "${var.name}/triton"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = true # otherwise destroy fails while there are images

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "triton" {
  repository = aws_ecr_repository.triton.name

  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep the five newest images"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 5 }
      action       = { type = "expire" }
    }]
  })
}
