# Budget, alarm, topic, and the dead man's switch.

data "aws_iam_policy_document" "guardrails" {
  #checkov:skip=CKV_AWS_356:Subscriptions have random ids
  #checkov:skip=CKV_AWS_111:Unsubscribe cannot be limited to a topic
  statement {
    sid       = "OwnBudget"
    actions   = ["budgets:ModifyBudget", "budgets:TagResource", "budgets:UntagResource"]
    resources = ["arn:${local.partition}:budgets::${local.account}:budget/${var.name}-*"]
  }

  # Charges are published in us-east-1 only.
  statement {
    sid = "OwnAlarm"
    actions = [
      "cloudwatch:DeleteAlarms",
      "cloudwatch:PutMetricAlarm",
      "cloudwatch:TagResource",
      "cloudwatch:UntagResource",
    ]
    resources = ["arn:${local.partition}:cloudwatch:us-east-1:${local.account}:alarm:${var.name}-*"]
  }

  statement {
    sid = "OwnTopic"
    actions = [
      "sns:CreateTopic",
      "sns:DeleteTopic",
      "sns:GetTopicAttributes",
      "sns:ListSubscriptionsByTopic",
      "sns:SetTopicAttributes",
      "sns:Subscribe",
      "sns:TagResource",
      "sns:UntagResource",
    ]
    resources = ["arn:${local.partition}:sns:us-east-1:${local.account}:${var.name}-*"]
  }

  statement {
    sid       = "Subscriptions"
    actions   = ["sns:GetSubscriptionAttributes", "sns:Unsubscribe"]
    resources = ["*"]
  }

  statement {
    sid = "DeadMansSwitch"
    actions = [
      "scheduler:CreateSchedule",
      "scheduler:CreateScheduleGroup",
      "scheduler:DeleteSchedule",
      "scheduler:DeleteScheduleGroup",
      "scheduler:GetSchedule",
      "scheduler:GetScheduleGroup",
      "scheduler:TagResource",
      "scheduler:UntagResource",
      "scheduler:UpdateSchedule",
    ]
    resources = [for path in ["schedule/${var.name}/*", "schedule-group/${var.name}"] :
    "arn:${local.partition}:scheduler:${var.region}:${local.account}:${path}"]
  }

  # EKS and add-ons write logs under the cluster's name; teardown deletes them.
  statement {
    sid     = "RemoveLogs"
    actions = ["logs:DeleteLogGroup"]
    resources = [for path in ["/aws/eks/${var.name}/*", "/aws/containerinsights/${var.name}/*"] :
    "arn:${local.partition}:logs:${var.region}:${local.account}:log-group:${path}"]
  }
}
