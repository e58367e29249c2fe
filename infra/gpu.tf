# Spot GPU nodes in an Auto Scaling group of our own: EKS's managed groups and Karpenter
# do not support a price cap (containers-roadmap#1575, karpenter-provider-aws#6816).

locals {
  gpu_zones = [for zone in local.zones : zone if contains(data.aws_ec2_instance_type_offerings.gpu.locations, zone)]

  gpu_taint = local.contract.gpu.taint
  # The second label tells the autoscaler to wait for the device plugin before it adds a node.
  gpu_labels = {
    (local.contract.gpu.label.key)  = local.contract.gpu.label.value
    "k8s.amazonaws.com/accelerator" = local.contract.gpu.label.value
  }

  # The autoscaler reads these tags while the group has no node.
  node_template = merge(
    { for key, value in local.gpu_labels : "label/${key}" => value },
    {
      "taint/${local.gpu_taint.key}"             = "${local.gpu_taint.value}:${local.gpu_taint.effect}"
      "resources/${local.contract.gpu.resource}" = tostring(local.contract.gpu.perNode)
      "resources/ephemeral-storage"              = "${var.gpu.disk_gib}Gi"
    },
  )
  autoscaler_tags = merge(
    {
      "k8s.io/cluster-autoscaler/enabled"     = "true"
      "k8s.io/cluster-autoscaler/${var.name}" = "owned"
    },
    { for key, value in local.node_template : "k8s.io/cluster-autoscaler/node-template/${key}" => value },
  )

  node_config = {
    apiVersion = "node.eks.aws/v1alpha1"
    kind       = "NodeConfig"
    spec = {
      cluster = {
        name                 = aws_eks_cluster.this.name
        apiServerEndpoint    = aws_eks_cluster.this.endpoint
        certificateAuthority = aws_eks_cluster.this.certificate_authority[0].data
        cidr                 = var.service_cidr
      }
      kubelet = {
        flags = [
          "--node-labels=${join(",", [for key, value in local.gpu_labels : "${key}=${value}"])}",
          "--register-with-taints=${local.gpu_taint.key}=${local.gpu_taint.value}:${local.gpu_taint.effect}",
        ]
      }
    }
  }
  node_user_data = <<-MIME
    MIME-Version: 1.0
    Content-Type: multipart/mixed; boundary="NODECONFIG"

    --NODECONFIG
    Content-Type: application/node.eks.aws

    ${yamlencode(local.node_config)}
    --NODECONFIG--
  MIME
}

# A separate role: the managed group of system nodes creates the access entry for its role itself,
# and a second entry for the same role would conflict.
resource "aws_iam_role" "gpu_nodes" {
  name                 = "${local.gpu_group_name}-nodes"
  assume_role_policy   = data.aws_iam_policy_document.trust_ec2.json
  permissions_boundary = local.boundary
}

resource "aws_iam_role_policy_attachment" "gpu_nodes" {
  for_each = local.node_policies

  role       = aws_iam_role.gpu_nodes.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.value}"
}

resource "aws_launch_template" "gpu" {
  name                   = local.gpu_group_name
  update_default_version = true

  image_id               = data.aws_ssm_parameter.gpu_image.insecure_value
  user_data              = base64encode(local.node_user_data)
  vpc_security_group_ids = [aws_eks_cluster.this.vpc_config[0].cluster_security_group_id]

  iam_instance_profile {
    arn = aws_iam_instance_profile.gpu_nodes.arn
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = var.gpu.disk_gib
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
    for_each = toset(["instance", "volume", "network-interface", "spot-instances-request"])

    content {
      resource_type = tag_specifications.value
      tags          = local.node_tags[local.gpu_group_name]
    }
  }
}

# NVIDIA's driver and container toolkit on Amazon Linux 2023, for this Kubernetes version.
data "aws_ssm_parameter" "gpu_image" {
  name = "/aws/service/eks/optimized-ami/${var.kubernetes_version}/amazon-linux-2023/x86_64/nvidia/recommended/image_id"
}

resource "aws_iam_instance_profile" "gpu_nodes" {
  name = local.gpu_group_name
  role = aws_iam_role.gpu_nodes.name
}

resource "aws_eks_access_entry" "gpu_nodes" {
  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_iam_role.gpu_nodes.arn
  type          = "EC2_LINUX"
}

resource "aws_autoscaling_group" "gpu" {
  #checkov:skip=CKV_AWS_315:The launch template is inside the mixed instances policy
  #checkov:skip=CKV_AWS_153:The check does not see tags of a dynamic block
  name                = local.gpu_group_name
  vpc_zone_identifier = [for zone in local.gpu_zones : aws_subnet.private[zone].id]
  min_size            = var.gpu.min_nodes
  desired_capacity    = var.gpu.desired_nodes
  max_size            = var.gpu.max_nodes
  # Stage 02 waits for the node and reports why none starts; apply must not wait for it.
  wait_for_capacity_timeout = "0"
  # The termination handler reacts to interruptions (README): rebalancing reacts to a risk only,
  # terminates nodes in the middle of a measurement, and does not drain.
  capacity_rebalance = false
  # A node must not be replaced only to balance the zones.
  suspended_processes = ["AZRebalance"]

  mixed_instances_policy {
    instances_distribution {
      on_demand_base_capacity                  = 0
      on_demand_percentage_above_base_capacity = 0
      spot_allocation_strategy                 = "price-capacity-optimized"
      spot_max_price                           = tostring(var.gpu.max_price_usd)
    }

    launch_template {
      launch_template_specification {
        launch_template_id = aws_launch_template.gpu.id
        version            = aws_launch_template.gpu.latest_version
      }

      dynamic "override" {
        for_each = local.contract.gpu.instanceTypes

        content {
          instance_type = override.value
        }
      }
    }
  }

  dynamic "tag" {
    for_each = merge(local.node_tags[local.gpu_group_name], local.autoscaler_tags)

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = false # the launch template tags instances
    }
  }

  lifecycle {
    ignore_changes = [desired_capacity] # the autoscaler changes it
  }

  # Timer, budget and alarm exist before the first node can cost anything, and are removed after
  # the last one.
  depends_on = [
    aws_scheduler_schedule.dead_man,
    aws_budgets_budget.account,
    aws_cloudwatch_metric_alarm.charges,
    aws_eks_access_entry.gpu_nodes,
    aws_iam_role_policy_attachment.gpu_nodes,
    aws_route.private,
    aws_route_table_association.private,
  ]
}
