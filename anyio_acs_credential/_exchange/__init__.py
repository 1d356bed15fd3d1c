"""An Entra token becomes an access token."""
