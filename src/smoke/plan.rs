//! What the app must answer before it is believed to work.
