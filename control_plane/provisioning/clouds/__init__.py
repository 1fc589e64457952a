"""The clouds through their own SDKs, one file each. Terraform makes the resources; these only look."""
