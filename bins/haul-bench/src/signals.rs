//! Leaving nothing behind when ended by a signal: processes end with this one, folders do not.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Has this folder removed when a signal ends the program.
pub(crate) fn remove_when_ended(folder: &Path) {
    let mut folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
    folders.push(folder.to_path_buf());
}

/// From now on a signal that ends the program removes its folders first.
pub(crate) fn watch() -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
            for folder in folders.iter() {
                // One that is gone already is what is wanted.
                let _ = fs::remove_dir_all(folder);
            }
            drop(folders);
            // Ends the program as the signal would have.
            let _ = emulate_default_handler(signal);
        }
    });
    Ok(())
}
