output "database" {
  description = "Where the tenant's rows live."
  value       = terraform_data.database.output
}

output "access_group" {
  description = "The name of the group that may enter the database."
  value       = terraform_data.access_group.output.name
}
