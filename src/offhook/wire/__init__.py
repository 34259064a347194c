"""What the bytes mean: identifiers, stream messages, REST models, events, results, signatures."""
