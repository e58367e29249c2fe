# A stack without any provider: what Terraform does with it takes a second. With three zones it holds
# a resource that is slow to make and slow to remove.

resource "terraform_data" "first" {
  count = 2

  provisioner "local-exec" {
    command = "test ! -e ../stop-${count.index}"
  }
}

resource "terraform_data" "slow" {
  count = var.zones == 3 ? 1 : 0

  provisioner "local-exec" {
    command = "sleep 4"
  }

  provisioner "local-exec" {
    when    = destroy
    command = "sleep 4"
  }

  depends_on = [terraform_data.first]
}

locals {
  made = { repository = "made-up", repository_url = "made-up", topic = "made-up", certificate = "" }
}
