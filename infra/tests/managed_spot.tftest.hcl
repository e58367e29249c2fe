# The documented alternative: a node group of EKS, spot but without a cap.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}
mock_provider "aws" {
  alias           = "billing"
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  run_id   = "20261124T0900Z-aws"
  api_cidr = "203.0.113.7/32"
  gpu = {
    capacity      = "managed-spot"
    max_price_usd = 0.30
    min_nodes     = 0
    desired_nodes = 1
    max_nodes     = 2
    disk_gib      = 100
  }
}

run "nodes_are_the_contracts_without_a_cap_and_the_switch_closes_the_group" {
  command = plan

  assert {
    condition     = aws_eks_node_group.gpu[0].capacity_type == "SPOT" && aws_eks_node_group.gpu[0].ami_type == "AL2023_x86_64_NVIDIA" && aws_eks_node_group.gpu[0].instance_types == tolist(local.contract.gpu.instanceTypes)
    error_message = "A spot node group with the NVIDIA image and the contract's types."
  }
  assert {
    condition = one(aws_eks_node_group.gpu[0].taint) == {
      key = local.contract.gpu.taint.key, value = local.contract.gpu.taint.value, effect = "NO_SCHEDULE"
    } && aws_eks_node_group.gpu[0].labels[local.contract.gpu.label.key] == local.contract.gpu.label.value
    error_message = "The contract's taint and label."
  }
  assert {
    condition     = aws_launch_template.gpu.image_id == null && aws_launch_template.gpu.user_data == null && length(aws_launch_template.gpu.iam_instance_profile) == 0
    error_message = "EKS refuses image, user data and role of ours in a managed group."
  }
  assert {
    condition     = length(aws_autoscaling_group.gpu) == 0 && length(aws_eks_access_entry.gpu_nodes) == 0 && length(data.aws_ssm_parameter.gpu_image) == 0
    error_message = "No group and no access entry beside those that EKS makes."
  }
  assert {
    condition     = output.gpu_max_price == 0 && output.gpu_capacity == "managed-spot" && output.gpu_asg_name == "eks-mock"
    error_message = "The outputs name no cap, and the group that EKS made."
  }
  assert {
    condition     = aws_autoscaling_group_tag.gpu["k8s.io/cluster-autoscaler/node-template/resources/${local.contract.gpu.resource}"].tag[0].value == tostring(local.contract.gpu.perNode) && aws_autoscaling_group_tag.gpu["project"].tag[0].value == "gpu-e2e"
    error_message = "The group that EKS made is tagged for people and for the autoscaler."
  }

  assert {
    condition     = aws_scheduler_schedule.dead_man.target[0].arn == "arn:aws:scheduler:::aws-sdk:eks:updateNodegroupConfig"
    error_message = "The schedule calls EKS itself."
  }
  assert {
    condition = jsondecode(aws_scheduler_schedule.dead_man.target[0].input) == {
      ClusterName   = "gpu-e2e"
      NodegroupName = "gpu-e2e-gpu"
      ScalingConfig = { MinSize = 0, DesiredSize = 0, MaxSize = 1 }
      Taints        = { AddOrUpdateTaints = [{ Key = "dead-man", Value = "fired", Effect = "NO_EXECUTE" }] }
    }
    error_message = "EKS wants a maximum of 1 or more, so a taint keeps the autoscaler from using it."
  }
  assert {
    condition     = data.aws_iam_policy_document.dead_man.statement[0].resources == toset(["arn:aws:eks:us-east-1:123456789012:nodegroup/gpu-e2e/gpu-e2e-gpu/*"])
    error_message = "The switch's role may touch this group only."
  }
}
