"""Who somebody is, without database and web: passwords, access tokens, opaque secrets, the second factor."""
