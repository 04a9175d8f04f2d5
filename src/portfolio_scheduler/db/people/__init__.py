"""People in the database: who they are, how they are logged in, what they let others see, and what happened."""
