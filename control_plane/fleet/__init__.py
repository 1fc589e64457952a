"""Changes of tenants' databases that a team writes itself: their files, their check, how all tenants get them."""
