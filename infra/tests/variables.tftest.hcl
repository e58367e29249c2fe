# Validation of every variable: refused values, and accepted values at the limits. A run sets wrong
# values for many variables at once; it passes if exactly these variables are refused. The tested
# module contains `variables.tf` alone, so a run needs no provider.

variables {
  run_id   = "20261124T0900Z-aws"
  api_cidr = "203.0.113.7/32"
}

run "edges_are_allowed" {
  command = plan
  module { source = "./tests/variables" }

  variables {
    name       = "abcdefghijklmnopqrs"
    api_cidr   = "203.0.113.0/24"
    ttl_hours  = 24
    zones      = 3
    budget_usd = 0.01
    cpu_nodes  = { min = 1, desired = 1, max = 1 }
    gpu = {
      max_price_usd = 5
      min_nodes     = 0
      desired_nodes = 0
      max_nodes     = 4
      disk_gib      = 80
    }
  }
}

run "refused_nothing_where_something_is_needed" {
  command = plan
  module { source = "./tests/variables" }

  variables {
    name               = "g"
    run_id             = ""
    tags               = { project = "gpu-e2e" }
    api_cidr           = ""
    cpu_instance_types = []
    cpu_nodes          = { min = 0, desired = 1, max = 1 }
    zones              = 1
    ttl_hours          = 0
    budget_usd         = 0
    gpu                = { max_price_usd = 0, min_nodes = 0, desired_nodes = 1, max_nodes = 2, disk_gib = 100 }
  }

  expect_failures = [
    var.name, var.run_id, var.tags, var.api_cidr, var.cpu_instance_types, var.cpu_nodes, var.zones, var.ttl_hours, var.budget_usd, var.gpu,
  ]
}

run "refused_just_past_the_other_edge" {
  command = plan
  module { source = "./tests/variables" }

  variables {
    name      = "abcdefghijklmnopqrst"
    vpc_cidr  = "10.42.0.0/17"
    api_cidr  = "203.0.113.0/23"
    zones     = 4
    ttl_hours = 24.1
    cpu_nodes = { min = 1, desired = 3, max = 2 }
    gpu       = { max_price_usd = 5.01, min_nodes = 0, desired_nodes = 1, max_nodes = 2, disk_gib = 100 }
    tags      = { project = "", owner = "Nancy" }
  }

  expect_failures = [
    var.name, var.vpc_cidr, var.api_cidr, var.zones, var.ttl_hours, var.cpu_nodes, var.gpu, var.tags,
  ]
}

run "refused_another_kind_of_thing" {
  command = plan
  module { source = "./tests/variables" }

  variables {
    region               = "moon"
    name                 = "Gpu"
    run_id               = "two words"
    kubernetes_version   = "latest"
    vpc_cidr             = "ten/16"
    service_cidr         = "services"
    api_cidr             = "203.0.113.7"
    admin_arns           = ["nancy"]
    certificate_key_file = "key-without-certificate.pem"
    alert_email          = "nancy"
    gpu                  = { max_price_usd = 0, min_nodes = 0, desired_nodes = 1, max_nodes = 2, disk_gib = 100 }
  }

  expect_failures = [
    var.region, var.name, var.run_id, var.kubernetes_version, var.vpc_cidr, var.service_cidr, var.api_cidr, var.admin_arns, var.certificate_key_file, var.alert_email, var.gpu,
  ]
}

run "refused_the_whole_world" {
  command = plan
  module { source = "./tests/variables" }

  variables {
    api_cidr           = "0.0.0.0/0"
    admin_arns         = ["*"]
    tags               = { project = "gpu-e2e", owner = "Nancy", run = "set by hand" }
    kubernetes_version = "1.35.1"
    name               = "1gpu"
    gpu                = { max_price_usd = 0.3, min_nodes = 0, desired_nodes = 3, max_nodes = 2, disk_gib = 100 }
  }

  expect_failures = [
    var.api_cidr, var.admin_arns, var.tags, var.kubernetes_version, var.name, var.gpu,
  ]
}

run "refused_the_whole_world_over_ipv6" {
  command = plan
  module { source = "./tests/variables" }

  variables {
    api_cidr = "::/0"
    gpu      = { max_price_usd = 0.3, min_nodes = -1, desired_nodes = 1, max_nodes = 2, disk_gib = 100 }
  }

  expect_failures = [
    var.api_cidr, var.gpu,
  ]
}

run "refused_room_for_no_gpu_node" {
  command = plan
  module { source = "./tests/variables" }

  variables {
    api_cidr = "203.0.113.300/32"
    gpu      = { max_price_usd = 0.3, min_nodes = 0, desired_nodes = 0, max_nodes = 0, disk_gib = 100 }
  }

  expect_failures = [
    var.api_cidr, var.gpu,
  ]
}

run "refused_room_for_five_gpu_nodes" {
  command = plan
  module { source = "./tests/variables" }

  variables {
    gpu = { max_price_usd = 0.3, min_nodes = 0, desired_nodes = 1, max_nodes = 5, disk_gib = 100 }
  }

  expect_failures = [
    var.gpu,
  ]
}

run "refused_a_disk_that_tritons_image_fills" {
  command = plan
  module { source = "./tests/variables" }

  variables {
    gpu = { max_price_usd = 0.3, min_nodes = 0, desired_nodes = 1, max_nodes = 2, disk_gib = 79 }
  }

  expect_failures = [
    var.gpu,
  ]
}

run "refused_a_disk_of_more_than_a_tebibyte" {
  command = plan
  module { source = "./tests/variables" }

  variables {
    gpu = { max_price_usd = 0.3, min_nodes = 0, desired_nodes = 1, max_nodes = 2, disk_gib = 1001 }
  }

  expect_failures = [
    var.gpu,
  ]
}

