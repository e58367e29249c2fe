# Read access for readiness, plan, leftover scan and prices. The scan must also see resources of
# others to tell them apart; it reads only their names and tags.

data "aws_iam_policy_document" "look" {
  #checkov:skip=CKV_AWS_356:List and describe actions have no resource-level permissions, or need the whole account
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
      "cloudwatch:ListMetrics",
      "cloudwatch:ListTagsForResource",
      "codebuild:BatchGetProjects",
      "codebuild:ListProjects",
      "ec2:Describe*",
      "ec2:GetSpotPlacementScores",
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

  # Checks whether the service-linked roles exist: a new account has none.
  statement {
    sid       = "ServiceLinkedRoles"
    actions   = ["iam:GetRole"]
    resources = ["${local.iam}:role/aws-service-role/*"]
  }

  # Before anything is created, stage 00 asks what this role may do.
  statement {
    sid       = "AskAboutItself"
    actions   = ["iam:GetRole", "iam:SimulatePrincipalPolicy"]
    resources = ["${local.iam}:role${local.path}${var.name}-deployer"]
  }

  statement {
    sid       = "NodeImages"
    actions   = ["ssm:GetParameter", "ssm:GetParameters"]
    resources = ["arn:${local.partition}:ssm:${var.region}::parameter/aws/service/eks/*"]
  }
}
