"""The services: routes that hold no rules."""
