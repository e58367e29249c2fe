# The VPC and its contents: created only with the project's tag, changed only if they have it.

locals {
  network_creations = [
    "ec2:AllocateAddress",
    "ec2:CreateInternetGateway",
    "ec2:CreateNatGateway",
    "ec2:CreateRouteTable",
    "ec2:CreateSubnet",
    "ec2:CreateVpc",
    "ec2:CreateVpcEndpoint",
  ]
}

data "aws_iam_policy_document" "network" {
  #checkov:skip=CKV_AWS_111:Every write is limited to the project's tag by its condition
  #checkov:skip=CKV_AWS_356:Ids are not known in advance; the tag is the limit
  statement {
    sid     = "MakeTagged"
    actions = local.network_creations
    resources = [for kind in [
      "elastic-ip", "internet-gateway", "natgateway", "route-table", "subnet", "vpc", "vpc-endpoint",
    ] : "${local.ec2}:${kind}/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/project"
      values   = [var.project]
    }
  }

  # Creating a resource also needs permission for the resources it is placed in or uses.
  statement {
    sid       = "MakeInside"
    actions   = local.network_creations
    resources = [for kind in ["elastic-ip", "route-table", "subnet", "vpc"] : "${local.ec2}:${kind}/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/project"
      values   = [var.project]
    }
  }

  statement {
    sid = "ChangeTagged"
    actions = [
      "ec2:AssociateRouteTable",
      "ec2:AttachInternetGateway",
      "ec2:CreateRoute",
      "ec2:DeleteInternetGateway",
      "ec2:DeleteNatGateway",
      "ec2:DeleteNetworkInterface",
      "ec2:DeleteRoute",
      "ec2:DeleteRouteTable",
      "ec2:DeleteSecurityGroup",
      "ec2:DeleteSubnet",
      "ec2:DeleteVpc",
      "ec2:DeleteVpcEndpoints",
      "ec2:DetachInternetGateway",
      "ec2:DisassociateAddress",
      "ec2:DisassociateRouteTable",
      "ec2:ModifySubnetAttribute",
      "ec2:ModifyVpcAttribute",
      "ec2:ModifyVpcEndpoint",
      "ec2:ReleaseAddress",
      "ec2:ReplaceRoute",
      "ec2:ReplaceRouteTableAssociation",
      "ec2:RevokeSecurityGroupEgress",
      "ec2:RevokeSecurityGroupIngress",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/project"
      values   = [var.project]
    }
  }

  # The address's own tag is checked above; the NAT gateway's interface has none.
  statement {
    sid       = "LetGoOfAddress"
    actions   = ["ec2:DisassociateAddress"]
    resources = ["${local.ec2}:network-interface/*"]
  }

  # What EKS and its network plugin leave behind has only the cluster's name (amazon-vpc-cni-k8s#608).
  dynamic "statement" {
    for_each = {
      RemoveInterfaces    = ["network-interface", "cluster.k8s.amazonaws.com/name"]
      RemoveClusterGroups = ["security-group", "aws:eks:cluster-name"]
    }

    content {
      sid = statement.key
      actions = {
        network-interface = ["ec2:DeleteNetworkInterface"]
        security-group    = ["ec2:DeleteSecurityGroup", "ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress"]
      }[statement.value[0]]
      resources = ["${local.ec2}:${statement.value[0]}/*"]

      condition {
        test     = "StringEquals"
        variable = "aws:ResourceTag/${statement.value[1]}"
        values   = [var.name]
      }
    }
  }

  # Load balancers belong to their controller; teardown deletes those it left behind.
  statement {
    sid       = "RemoveLoadBalancers"
    actions   = ["elasticloadbalancing:DeleteLoadBalancer", "elasticloadbalancing:DeleteTargetGroup"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/project"
      values   = [var.project]
    }
  }
}
