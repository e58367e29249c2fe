# Validation of every variable: refused values. A run sets wrong values for many variables at once; it
# passes if exactly these variables are refused. The tested module contains `variables.tf` alone, so a
# run needs no provider.

variables {
  trusted_arns = ["arn:aws:iam::123456789012:user/nancy"]
}

run "refused_wildcards_and_nothings" {
  command = plan
  module { source = "./tests/variables" }

  variables {
    region         = "moon"
    name           = "Gpu"
    project        = "*"
    trusted_arns   = ["*"]
    instance_types = ["*"]
    session_hours  = 0
  }

  expect_failures = [
    var.region, var.name, var.project, var.trusted_arns, var.instance_types, var.session_hours,
  ]
}

run "refused_a_whole_account_and_a_session_of_a_day" {
  command = plan
  module { source = "./tests/variables" }

  variables {
    trusted_arns   = ["arn:aws:iam::123456789012:root"]
    instance_types = []
    session_hours  = 13
  }

  expect_failures = [var.trusted_arns, var.instance_types, var.session_hours]
}

run "refused_nobody" {
  command = plan
  module { source = "./tests/variables" }

  variables {
    trusted_arns = []
  }

  expect_failures = [var.trusted_arns]
}
