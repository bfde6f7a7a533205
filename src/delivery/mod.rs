//! One HTTP request: body, headers, signature, address guard, client.
