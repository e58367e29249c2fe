# Notifications about spending. They lag by hours (the meter and the dead man's switch do not) and
# cover the whole account: costs by tag are empty on the first day.

resource "aws_sns_topic" "alerts" {
  #checkov:skip=CKV_AWS_26:Budgets and alarms cannot publish to a topic under AWS's own key, and our own KMS key would outlive the run by at least a week
  provider = aws.billing

  name = "${var.name}-alerts"
}

data "aws_iam_policy_document" "alerts" {
  provider = aws.billing

  statement {
    sid       = "BudgetsAndAlarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alerts.arn]

    principals {
      type        = "Service"
      identifiers = ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "alerts" {
  provider = aws.billing

  arn    = aws_sns_topic.alerts.arn
  policy = data.aws_iam_policy_document.alerts.json
}

resource "aws_sns_topic_subscription" "email" {
  provider = aws.billing
  count    = var.alert_email == "" ? 0 : 1

  topic_arn = aws_sns_topic.alerts.arn
  protocol  = "email"
  endpoint  = var.alert_email
}

resource "aws_cloudwatch_metric_alarm" "charges" {
  provider = aws.billing

  alarm_name          = "${var.name}-estimated-charges"
  alarm_description   = "The account's charges of this month exceed ${var.budget_usd} US dollars."
  namespace           = "AWS/Billing"
  metric_name         = "EstimatedCharges"
  dimensions          = { Currency = "USD" }
  statistic           = "Maximum"
  period              = 21600 # AWS publishes the metric about every six hours
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.budget_usd
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alerts.arn]
}

resource "aws_budgets_budget" "account" {
  name         = "${var.name}-account"
  budget_type  = "COST"
  limit_amount = tostring(var.budget_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "notification" {
    for_each = [
      { type = "ACTUAL", percent = 50 },
      { type = "ACTUAL", percent = 80 },
      { type = "ACTUAL", percent = 100 },
      { type = "FORECASTED", percent = 100 },
    ]

    content {
      notification_type          = notification.value.type
      threshold                  = notification.value.percent
      threshold_type             = "PERCENTAGE"
      comparison_operator        = "GREATER_THAN"
      subscriber_sns_topic_arns  = [aws_sns_topic.alerts.arn]
      subscriber_email_addresses = compact([var.alert_email])
    }
  }

  # Budgets checks the topic when a notification is created.
  depends_on = [aws_sns_topic_policy.alerts]
}
