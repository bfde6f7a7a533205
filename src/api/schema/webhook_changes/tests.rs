use super::*;

#[test]
fn changes_tell_null_from_nothing() {
    let changes: WebhookChanges = serde_json::from_str(r#"{"filter":null,"max_retries":3}"#).unwrap();
    assert_eq!(changes.filter, Some(None));
    assert_eq!(changes.max_retries, Some(Some(Whole(3))));
    assert_eq!(changes.backoff_factor, None);
}
