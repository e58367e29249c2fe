# The dead man's switch: a timer inside AWS that scales the GPU nodes to zero unless it is
# renewed. It works even if the laptop is off, the notebook is killed or the credentials expired.

locals {
  # Fractions of an hour are allowed; the schedule uses UTC.
  dead_man_first = formatdate("YYYY-MM-DD'T'hh:mm:ss", timeadd(plantimestamp(), "${var.ttl_hours}h"))
}

data "aws_iam_policy_document" "trust_scheduler" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }

    # The service passes the schedule's group here, not the schedule.
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:scheduler:${var.region}:${local.account_id}:schedule-group/${var.name}"]
    }
  }
}

data "aws_iam_policy_document" "dead_man" {
  statement {
    sid       = "ScaleThisGroupOnly"
    actions   = ["autoscaling:UpdateAutoScalingGroup"]
    resources = ["arn:${local.partition}:autoscaling:${var.region}:${local.account_id}:autoScalingGroup:*:autoScalingGroupName/${local.gpu_group_name}"]
  }
}

resource "aws_iam_role" "dead_man" {
  name                 = "${var.name}-dead-man"
  assume_role_policy   = data.aws_iam_policy_document.trust_scheduler.json
  permissions_boundary = local.boundary
}

resource "aws_iam_role_policy" "dead_man" {
  name   = "scale-gpu-nodes-to-zero"
  role   = aws_iam_role.dead_man.id
  policy = data.aws_iam_policy_document.dead_man.json
}

resource "aws_scheduler_schedule_group" "this" {
  name = var.name
}

resource "aws_scheduler_schedule" "dead_man" {
  #checkov:skip=CKV_AWS_297:The schedule holds a group's name and zeros; our own KMS key would outlive the run by at least a week
  name        = "${var.name}-dead-man"
  group_name  = aws_scheduler_schedule_group.this.name
  description = "Scales the GPU nodes of ${var.name} to zero unless it is renewed."

  # After it has fired it is kept as evidence and can be renewed; teardown removes it.
  schedule_expression          = "at(${local.dead_man_first})"
  schedule_expression_timezone = "UTC"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = "arn:${local.partition}:scheduler:::aws-sdk:autoscaling:updateAutoScalingGroup"
    role_arn = aws_iam_role.dead_man.arn
    input = jsonencode({
      AutoScalingGroupName = local.gpu_group_name
      MinSize              = 0
      DesiredCapacity      = 0
      MaxSize              = 0
    })
    # The service itself retries for a day, up to 185 times.
  }

  lifecycle {
    ignore_changes = [schedule_expression] # renewed from the notebooks
  }

  depends_on = [aws_iam_role_policy.dead_man]
}
