# The dead man's switch: a timer inside AWS that scales the GPU nodes to zero when nobody renews
# it. It works with the laptop shut, the notebook killed and the credentials expired.

locals {
  # An Auto Scaling group can be closed with a maximum of 0. A managed group's maximum is at least
  # 1, so that one is closed by a taint which nothing tolerates: the autoscaler cannot use it.
  dead_man_calls = {
    spot-capped = {
      target = "autoscaling:updateAutoScalingGroup"
      action = "autoscaling:UpdateAutoScalingGroup"
      on     = "arn:${local.partition}:autoscaling:${var.region}:${local.account_id}:autoScalingGroup:*:autoScalingGroupName/${local.gpu_group_name}"
      input = jsonencode({
        AutoScalingGroupName = local.gpu_group_name
        MinSize              = 0
        DesiredCapacity      = 0
        MaxSize              = 0
      })
    }
    # EventBridge Scheduler wants EKS's own members in PascalCase, unlike EKS's API.
    managed-spot = {
      target = "eks:updateNodegroupConfig"
      action = "eks:UpdateNodegroupConfig"
      on     = "arn:${local.partition}:eks:${var.region}:${local.account_id}:nodegroup/${var.name}/${local.gpu_group_name}/*"
      input = jsonencode({
        ClusterName   = var.name
        NodegroupName = local.gpu_group_name
        ScalingConfig = { MinSize = 0, DesiredSize = 0, MaxSize = 1 }
        Taints        = { AddOrUpdateTaints = [{ Key = "dead-man", Value = "fired", Effect = "NO_EXECUTE" }] }
      })
    }
  }
  dead_man = local.dead_man_calls[var.gpu.capacity]

  # Fractions of an hour too; the schedule reads UTC.
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

    # The service names the schedule's group here, not the schedule.
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
    actions   = [local.dead_man.action]
    resources = [local.dead_man.on]
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
  #checkov:skip=CKV_AWS_297:The schedule holds a group's name and zeros; a KMS key of ours would outlive the run by a week at least
  name        = "${var.name}-dead-man"
  group_name  = aws_scheduler_schedule_group.this.name
  description = "Scales the GPU nodes of ${var.name} to zero unless it is renewed."

  # Once fired it stays, as evidence and to be renewed; teardown removes it.
  schedule_expression          = "at(${local.dead_man_first})"
  schedule_expression_timezone = "UTC"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = "arn:${local.partition}:scheduler:::aws-sdk:${local.dead_man.target}"
    role_arn = aws_iam_role.dead_man.arn
    input    = local.dead_man.input
    # Retries are the service's own: for a day, up to 185 times.
  }

  lifecycle {
    ignore_changes = [schedule_expression] # renewed from the notebooks
  }

  depends_on = [aws_iam_role_policy.dead_man]
}
