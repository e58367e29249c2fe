# Reading: readiness, plan, leftover scan, prices. The scan has to see what is not its own, so that
# it can tell; names and tags are all it reads there.

data "aws_iam_policy_document" "look" {
  #checkov:skip=CKV_AWS_356:Lists and descriptions know no resources, or are asked of the whole account on purpose
  #checkov:skip=CKV_AWS_108:Nothing here reads the content of an object, a log or a secret
  statement {
    sid = "DescribeAndList"
    actions = [
      "acm:ListCertificates",
      "acm:ListTagsForCertificate",
      "autoscaling:Describe*",
      "budgets:ListTagsForResource",
      "budgets:ViewBudget",
      "cloudwatch:DescribeAlarms",
      "cloudwatch:ListTagsForResource",
      "ec2:Describe*",
      "ecr:DescribeImages",
      "ecr:DescribeRepositories",
      "ecr:ListTagsForResource",
      "eks:Describe*",
      "eks:List*",
      "elasticloadbalancing:Describe*",
      "iam:ListInstanceProfileTags",
      "iam:ListInstanceProfiles",
      "iam:ListOpenIDConnectProviderTags",
      "iam:ListOpenIDConnectProviders",
      "iam:ListPolicies",
      "iam:ListPolicyTags",
      "iam:ListPolicyVersions",
      "iam:ListRoleTags",
      "iam:ListRoles",
      "iam:GetInstanceProfile",
      "kms:DescribeKey",
      "kms:ListKeys",
      "kms:ListResourceTags",
      "logs:DescribeLogGroups",
      "logs:ListTagsForResource",
      "s3:GetBucketTagging",
      "s3:ListAllMyBuckets",
      "scheduler:ListScheduleGroups",
      "scheduler:ListSchedules",
      "scheduler:ListTagsForResource",
      "sns:ListTagsForResource",
      "sns:ListTopics",
    ]
    resources = ["*"]
  }

  statement {
    sid = "QuotasAndMoney"
    actions = [
      "ce:GetCostAndUsage",
      "ce:ListCostAllocationTags",
      "freetier:GetAccountPlanState",
      "pricing:GetProducts",
      "servicequotas:GetAWSDefaultServiceQuota",
      "servicequotas:GetServiceQuota",
      "servicequotas:ListRequestedServiceQuotaChangeHistoryByQuota",
      "servicequotas:ListServiceQuotas",
      "sts:GetCallerIdentity",
    ]
    resources = ["*"]
  }

  # Whether the service-linked roles exist: a new account has none.
  statement {
    sid       = "ServiceLinkedRoles"
    actions   = ["iam:GetRole"]
    resources = ["${local.iam}:role/aws-service-role/*"]
  }

  statement {
    sid       = "NodeImages"
    actions   = ["ssm:GetParameter", "ssm:GetParameters"]
    resources = ["arn:${local.partition}:ssm:${var.region}::parameter/aws/service/eks/*"]
  }
}
