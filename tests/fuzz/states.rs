//! Targets for state that a process leaves to the next one: a row of the
//! ledger, and numbers in the environment.

use runt::{
    machine::slot::SlotState,
    wire::{
        ledger::{BYTES, Cursor},
        record::{self, NUMBERS, TEXT},
    },
};

use crate::input::Input;

/// Checks that what a row restores is saved and restored without a change, and
/// that a start is the last of its actions.
pub(crate) fn ledger(data: &[u8]) {
    let mut fields = Input(data).array::<BYTES>();
    let restored = SlotState::restore(&mut Cursor::load(&mut fields));
    let Some((slot, todo)) = restored else {
        return;
    };
    let starts = todo.iter().position(|action| action.is_start());
    assert!(starts.is_none_or(|at| at + 1 == todo.len()), "{todo:?}");
    let mut fields = [0; BYTES];
    let mut cursor = Cursor::store(&mut fields);
    slot.save(&todo, &mut cursor);
    assert!(cursor.is_valid(), "{slot:?}");
    let restored = SlotState::restore(&mut Cursor::load(&mut fields));
    let (other, actions) = restored.unwrap();
    assert_eq!(format!("{other:?}"), format!("{slot:?}"));
    assert_eq!(actions, todo);
}

/// Returns the text of numbers, with their checksum.
fn written(numbers: &[u64]) -> Vec<u8> {
    let mut text = [0; TEXT];
    let mut used = record::put_number(&mut text, 0, record::checksum(numbers));
    for number in numbers {
        used = record::put_number(&mut text, used, *number);
    }
    text[..used].to_vec()
}

/// Checks that a text that is read holds numbers whose text is read as the
/// same, and that the input's own bytes, as numbers, are read as written.
pub(crate) fn record(data: &[u8]) {
    if let Some(numbers) = record::read(data) {
        let text = written(&numbers);
        // Written without zeros at the front.
        assert!(text.len() <= data.len(), "{numbers:?}");
        assert_eq!(record::read(&text), Some(numbers));
    }
    let mut input = Input(data);
    let mut numbers = Vec::new();
    while !input.is_empty() && numbers.len() < NUMBERS {
        numbers.push(input.number());
    }
    let read = record::read(&written(&numbers)).unwrap();
    assert_eq!(read.as_slice(), numbers);
}
