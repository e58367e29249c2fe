# Nodes for system pods, and settings of all nodes.

locals {
  node_policies = toset([
    "AmazonEKSWorkerNodePolicy",
    "AmazonEKS_CNI_Policy",
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonSSMManagedInstanceCore", # a shell on a node for debugging, without SSH key or open port
  ])
}

data "aws_iam_policy_document" "trust_ec2" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "system_nodes" {
  name                 = "${local.system_group_name}-nodes"
  assume_role_policy   = data.aws_iam_policy_document.trust_ec2.json
  permissions_boundary = local.boundary
}

resource "aws_iam_role_policy_attachment" "system_nodes" {
  for_each = local.node_policies

  role       = aws_iam_role.system_nodes.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.value}"
}

# EKS sets image, role and user data; it rejects ours in a managed group.
resource "aws_launch_template" "system" {
  name                   = local.system_group_name
  update_default_version = true

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = 30
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }

  # One hop: pods cannot use the node's role.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume", "network-interface"])

    content {
      resource_type = tag_specifications.value
      tags          = local.node_tags[local.system_group_name]
    }
  }
}

resource "aws_eks_node_group" "system" {
  cluster_name    = aws_eks_cluster.this.name
  node_group_name = local.system_group_name
  node_role_arn   = aws_iam_role.system_nodes.arn
  subnet_ids      = [for zone in local.cluster_zones : aws_subnet.private[zone].id]
  ami_type        = "AL2023_x86_64_STANDARD"
  capacity_type   = "ON_DEMAND"
  instance_types  = var.cpu_instance_types

  launch_template {
    id      = aws_launch_template.system.id
    version = aws_launch_template.system.latest_version
  }

  scaling_config {
    min_size     = var.cpu_nodes.min
    desired_size = var.cpu_nodes.desired
    max_size     = var.cpu_nodes.max
  }

  update_config {
    max_unavailable = 1
  }

  lifecycle {
    ignore_changes = [scaling_config[0].desired_size] # the autoscaler changes it
  }

  # Budget and alarm exist before the first node can cost anything. Nodes join and are drained
  # through NAT.
  depends_on = [
    aws_budgets_budget.account,
    aws_cloudwatch_metric_alarm.charges,
    aws_iam_role_policy_attachment.system_nodes,
    aws_route.private,
    aws_route_table_association.private,
  ]
}

# EKS does not copy the node group's tags to the Auto Scaling group it creates.
resource "aws_autoscaling_group_tag" "system" {
  for_each = local.tags

  autoscaling_group_name = aws_eks_node_group.system.resources[0].autoscaling_groups[0].name

  tag {
    key                 = each.key
    value               = each.value
    propagate_at_launch = false # the launch template tags instances
  }
}
