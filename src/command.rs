//! What the line asks the station to do while it runs. How it is asked is the publisher's business.

use crate::clock::Moment;
use crate::frame::{CameraId, PartId, is_plain};

/// An order that was understood and is to be carried out, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub order: Order,
    /// The word that the sender gave it, for the answers that concern it.
    pub id: Option<CommandId>,
    /// When it was received.
    pub at: Moment,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// A part is in view.
    Trigger {
        /// None is every camera that is triggered by command.
        camera: Option<CameraId>,
        part: Option<PartId>,
        /// The sender's own number, 31 bits.
        number: Option<u32>,
    },
    /// Make this product the active one. Its file was there when the command came.
    Product(String),
    /// Read the settings again.
    Reload,
}

/// 1 to 64 printable ASCII characters without `"` and `\`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandId(String);

impl CommandId {
    /// None if the text breaks the rule.
    pub fn new(text: &str) -> Option<Self> {
        ((1..=64).contains(&text.len()) && text.chars().all(is_plain)).then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}
