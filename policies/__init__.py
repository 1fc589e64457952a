"""Who may: the question to the policy engine, its answer, its process. Not what is then done."""
