//! Enumerations that are stored as words.

/// Declares an enumeration with its words: `ALL`, `as_str` and `parse`. A CHECK of the schema lists
/// the same words; a test compares the two.
macro_rules! stored_words {
    ($(#[$meta:meta])* $visible:vis enum $name:ident { $($(#[$about:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $(#[$meta])*
        $visible enum $name {
            $($(#[$about])* $variant),+
        }

        impl $name {
            /// All of them.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// Its word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            /// The one of a word; `None` if the word is unknown.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|known| known.as_str() == word)
            }
        }
    };
}

pub(crate) use stored_words;
