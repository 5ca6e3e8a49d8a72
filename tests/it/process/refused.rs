//! What keeps a station from starting: an exit code and a sentence that says what to do.
