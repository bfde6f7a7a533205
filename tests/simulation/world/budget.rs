//! How many bytes of payload one call may return.

use pgtopic::store::ReadLimits;

/// The bytes that one call may still return.
pub(super) struct Budget {
    left: usize,
    /// Whether the next message is returned in any case: the first one of a read.
    first: bool,
}

impl Budget {
    pub(super) fn new(limits: ReadLimits, first: bool) -> Self {
        Self { left: usize::try_from(limits.payload_bytes).unwrap_or(0), first }
    }

    /// How many of some messages may be returned.
    pub(super) fn take(&mut self, messages: usize, size: usize, ends: impl Fn() -> bool) -> usize {
        let mut taken = 0;
        while taken < messages && (self.first || self.left >= size && !ends()) {
            self.left = self.left.saturating_sub(size);
            self.first = false;
            taken += 1;
        }
        if taken < messages {
            self.left = 0;
        }
        taken
    }
}

/// The longest payload. Nobody looks at what is in it.
pub(super) static PAYLOAD: [u8; 12 << 20] = [0; 12 << 20];
