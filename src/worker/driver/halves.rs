//! Halving: a call for many items, if one of them may make all of it fail.

use crate::store::StoreError;

/// What a call for many items has given.
pub(super) struct Halved<T, R> {
    /// The answers.
    pub(super) answers: Vec<R>,
    /// The items for which the call fails even alone.
    pub(super) failed: Vec<(T, StoreError)>,
}

/// Calls for all items at once. If that fails, and one item may be the reason (`of_an_item`), calls
/// for each half, and so on down to single items.
///
/// # Errors
/// The first error that no single item explains. The answers of earlier calls are lost then.
pub(super) async fn in_halves<T: Clone, R, F>(
    items: Vec<T>,
    of_an_item: impl Fn(&StoreError) -> bool,
    call: impl Fn(Vec<T>) -> F,
) -> Result<Halved<T, R>, StoreError>
where
    F: Future<Output = Result<Vec<R>, StoreError>>,
{
    let mut halved = Halved { answers: Vec::new(), failed: Vec::new() };
    let mut groups = vec![items];
    while let Some(mut group) = groups.pop() {
        if group.is_empty() {
            continue;
        }
        match call(group.clone()).await {
            Ok(answers) => halved.answers.extend(answers),
            Err(error) if !of_an_item(&error) => return Err(error),
            Err(error) if group.len() == 1 => halved.failed.extend(group.pop().map(|item| (item, error))),
            Err(_) => {
                let second = group.split_off(group.len() / 2);
                groups.extend([second, group]);
            }
        }
    }
    Ok(halved)
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::ready};

    use super::*;

    fn of_a_row() -> StoreError {
        StoreError::Unexpected("a bad row".to_owned())
    }

    #[tokio::test]
    async fn bad_items_are_found_and_all_others_are_served_in_order() {
        let calls = Cell::new(0);
        let halved = in_halves((0..100).collect(), StoreError::may_be_of_a_row, |items: Vec<i32>| {
            calls.set(calls.get() + 1);
            ready(if items.contains(&17) || items.contains(&80) { Err(of_a_row()) } else { Ok(items) })
        })
        .await
        .unwrap();
        let failed: Vec<i32> = halved.failed.iter().map(|(item, _)| *item).collect();
        assert_eq!(failed, [17, 80]);
        let others: Vec<i32> = (0..100).filter(|item| !failed.contains(item)).collect();
        assert_eq!(halved.answers, others);
        assert!(calls.get() < 40, "{}", calls.get());
    }

    #[tokio::test]
    async fn what_no_item_explains_fails_at_once() {
        let calls = Cell::new(0);
        let outcome = in_halves((0..100).collect(), StoreError::may_be_of_a_row, |_: Vec<i32>| {
            calls.set(calls.get() + 1);
            ready(Err::<Vec<()>, _>(StoreError::Connect("gone".to_owned())))
        })
        .await;
        assert!(outcome.is_err());
        assert_eq!(calls.get(), 1);
    }
}
