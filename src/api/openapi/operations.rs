//! The operations of a description, and their parts. A part that is missing stays so: `Value` puts a
//! null where one is indexed mutably.

use serde_json::Value;

/// All operations of a description.
pub(super) fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(_, path)| path.as_object_mut().into_iter().flatten().map(|(_, operation)| operation))
}

/// The parameters of an operation.
pub(super) fn parameters(operation: &mut Value) -> impl Iterator<Item = &mut Value> {
    operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
}

/// The media types of an operation's body, each with its content.
pub(super) fn bodies(operation: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut).into_iter().flatten()
}
