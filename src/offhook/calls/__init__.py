"""What a call is: a pure machine of legs, participants and app connections."""
