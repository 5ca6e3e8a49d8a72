//! The product that was chosen by a command, kept over a restart.
//!
//! The choice stands over what `station.product` said when it was made. An edit of `station.product` is newer than the
//! choice, and wins.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

const FILE: &str = "product";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub product: String,
    /// What the station file said.
    pub over: String,
}

impl Choice {
    /// What was kept in `state_dir`, if something was.
    pub fn read(state_dir: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(state_dir.join(FILE)) {
            Ok(text) => text,
            Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(why) => return Err(why),
        };
        let mut lines = text.lines().map(str::to_owned);
        match (lines.next(), lines.next(), lines.next()) {
            (Some(product), Some(over), None) => Ok(Some(Self { product, over })),
            _ => Err(io::Error::new(
                ErrorKind::InvalidData,
                "should hold two names of products: delete it to go by the station file",
            )),
        }
    }

    /// Keeps `choice` in place of what was there, whole or not at all.
    pub fn keep(choice: Option<&Self>, state_dir: &Path) -> io::Result<()> {
        let file = state_dir.join(FILE);
        match choice {
            Some(Self { product, over }) => {
                let temporary = file.with_extension("part");
                let mut part = File::create(&temporary)?;
                writeln!(part, "{product}\n{over}")?;
                part.sync_all()?;
                fs::rename(&temporary, &file)?;
            }
            None => match fs::remove_file(&file) {
                Err(why) if why.kind() != ErrorKind::NotFound => return Err(why),
                Ok(()) | Err(_) => {}
            },
        }
        // The new name must survive a power cut as well.
        File::open(state_dir)?.sync_all()
    }

    /// The file's name, for messages.
    pub fn file(state_dir: &Path) -> std::path::PathBuf {
        state_dir.join(FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_kept_replaced_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let choice = |product: &str| Choice { product: product.into(), over: "tile".into() };
        assert_eq!(Choice::read(folder.path()).unwrap(), None);
        for product in ["cover", "lid"] {
            Choice::keep(Some(&choice(product)), folder.path()).unwrap();
            assert_eq!(Choice::read(folder.path()).unwrap(), Some(choice(product)));
        }
        Choice::keep(None, folder.path()).unwrap();
        Choice::keep(None, folder.path()).unwrap();
        assert_eq!(Choice::read(folder.path()).unwrap(), None);
    }

    #[test]
    fn what_is_no_choice_is_said_not_guessed() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "cover\n", "cover\ntile\nlid\n"] {
            fs::write(Choice::file(folder.path()), text).unwrap();
            assert!(Choice::read(folder.path()).is_err(), "{text:?}");
        }
    }
}
