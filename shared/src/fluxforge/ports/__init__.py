"""The ports: what the services ask of the outside, with what each call raises and the state it leaves."""
