# What the AWS Load Balancer Controller (3.5.0) may do: every action and condition that its
# maintainers require (docs/install/iam_policy.json), in our own layout. Its trust is in irsa.tf.

locals {
  elb = "arn:${local.partition}:elasticloadbalancing:*:*"
  # The controller sets this tag on everything it creates; Null checks that it is absent.
  cluster_tag           = "elbv2.k8s.aws/cluster"
  security_groups       = "arn:${local.partition}:ec2:*:*:security-group/*"
  balancers_and_targets = ["${local.elb}:targetgroup/*/*", "${local.elb}:loadbalancer/net/*/*", "${local.elb}:loadbalancer/app/*/*"]
  listeners_and_rules = [
    "${local.elb}:listener/net/*/*/*", "${local.elb}:listener/app/*/*/*",
    "${local.elb}:listener-rule/net/*/*/*", "${local.elb}:listener-rule/app/*/*/*",
  ]
}

data "aws_iam_policy_document" "alb_controller" {
  #checkov:skip=CKV_AWS_111:The controller's conditions limit it; the load balancers are not known in advance
  #checkov:skip=CKV_AWS_356:As upstream requires; most of these actions have no resource-level permissions
  statement {
    sid       = "ServiceLinkedRole"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "iam:AWSServiceName"
      values   = ["elasticloadbalancing.amazonaws.com"]
    }
  }

  statement {
    sid = "Look"
    actions = concat(
      [for what in [
        "AccountAttributes", "Addresses", "AvailabilityZones", "CoipPools", "Instances", "InternetGateways", "IpamPools",
        "NetworkInterfaces", "RouteTables", "SecurityGroups", "Subnets", "Tags", "VpcPeeringConnections", "Vpcs",
      ] : "ec2:Describe${what}"],
      ["ec2:GetCoipPoolUsage", "ec2:GetSecurityGroupsForVpc"],
      [for what in [
        "CapacityReservation", "ListenerAttributes", "ListenerCertificates", "Listeners", "LoadBalancerAttributes",
        "LoadBalancers", "Rules", "SSLPolicies", "Tags", "TargetGroupAttributes", "TargetGroups", "TargetHealth",
        "TrustStores",
      ] : "elasticloadbalancing:Describe${what}"],
    )
    resources = ["*"]
  }

  statement {
    sid = "CertificatesAndShields"
    actions = concat(
      ["acm:DescribeCertificate", "acm:ListCertificates"],
      ["cognito-idp:DescribeUserPoolClient"],
      ["iam:GetServerCertificate", "iam:ListServerCertificates"],
      [for what in ["CreateProtection", "DeleteProtection", "DescribeProtection", "GetSubscriptionState"] : "shield:${what}"],
      [for pair in setproduct(
        ["waf-regional", "wafv2"],
        ["AssociateWebACL", "DisassociateWebACL", "GetWebACL", "GetWebACLForResource"],
      ) : join(":", pair)],
    )
    resources = ["*"]
  }

  statement {
    sid       = "SecurityGroupRules"
    actions   = ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"]
    resources = ["*"]
  }

  statement {
    sid       = "CreateSecurityGroup"
    actions   = ["ec2:CreateSecurityGroup"]
    resources = ["*"]
  }

  statement {
    sid       = "TagNewSecurityGroup"
    actions   = ["ec2:CreateTags"]
    resources = [local.security_groups]

    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["CreateSecurityGroup"]
    }
    condition {
      test     = "Null"
      variable = "aws:RequestTag/${local.cluster_tag}"
      values   = ["false"]
    }
  }

  statement {
    sid       = "TagOwnSecurityGroup"
    actions   = ["ec2:CreateTags", "ec2:DeleteTags"]
    resources = [local.security_groups]

    condition {
      test     = "Null"
      variable = "aws:RequestTag/${local.cluster_tag}"
      values   = ["true"]
    }
    condition {
      test     = "Null"
      variable = "aws:ResourceTag/${local.cluster_tag}"
      values   = ["false"]
    }
  }

  statement {
    sid       = "ChangeOwnSecurityGroup"
    actions   = ["ec2:AuthorizeSecurityGroupIngress", "ec2:DeleteSecurityGroup", "ec2:RevokeSecurityGroupIngress"]
    resources = ["*"]

    condition {
      test     = "Null"
      variable = "aws:ResourceTag/${local.cluster_tag}"
      values   = ["false"]
    }
  }

  statement {
    sid       = "CreateTagged"
    actions   = ["elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup"]
    resources = ["*"]

    condition {
      test     = "Null"
      variable = "aws:RequestTag/${local.cluster_tag}"
      values   = ["false"]
    }
  }

  statement {
    sid       = "ListenersAndRules"
    actions   = [for what in ["CreateListener", "CreateRule", "DeleteListener", "DeleteRule"] : "elasticloadbalancing:${what}"]
    resources = ["*"]
  }

  statement {
    sid       = "TagOwn"
    actions   = ["elasticloadbalancing:AddTags", "elasticloadbalancing:RemoveTags"]
    resources = local.balancers_and_targets

    condition {
      test     = "Null"
      variable = "aws:RequestTag/${local.cluster_tag}"
      values   = ["true"]
    }
    condition {
      test     = "Null"
      variable = "aws:ResourceTag/${local.cluster_tag}"
      values   = ["false"]
    }
  }

  statement {
    sid       = "TagListenersAndRules"
    actions   = ["elasticloadbalancing:AddTags", "elasticloadbalancing:RemoveTags"]
    resources = local.listeners_and_rules
  }

  statement {
    sid = "ChangeOwn"
    actions = [for what in [
      "DeleteLoadBalancer", "DeleteTargetGroup", "ModifyCapacityReservation", "ModifyIpPools", "ModifyListenerAttributes",
      "ModifyLoadBalancerAttributes", "ModifyTargetGroup", "ModifyTargetGroupAttributes", "SetIpAddressType",
      "SetSecurityGroups", "SetSubnets",
    ] : "elasticloadbalancing:${what}"]
    resources = ["*"]

    condition {
      test     = "Null"
      variable = "aws:ResourceTag/${local.cluster_tag}"
      values   = ["false"]
    }
  }

  statement {
    sid       = "TagNew"
    actions   = ["elasticloadbalancing:AddTags"]
    resources = local.balancers_and_targets

    condition {
      test     = "StringEquals"
      variable = "elasticloadbalancing:CreateAction"
      values   = ["CreateLoadBalancer", "CreateTargetGroup"]
    }
    condition {
      test     = "Null"
      variable = "aws:RequestTag/${local.cluster_tag}"
      values   = ["false"]
    }
  }

  statement {
    sid       = "Targets"
    actions   = ["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"]
    resources = ["${local.elb}:targetgroup/*/*"]
  }

  statement {
    sid = "CertificatesAndPriorities"
    actions = [for what in [
      "AddListenerCertificates", "ModifyListener", "ModifyRule", "RemoveListenerCertificates", "SetRulePriorities", "SetWebAcl",
    ] : "elasticloadbalancing:${what}"]
    resources = ["*"]
  }
}
