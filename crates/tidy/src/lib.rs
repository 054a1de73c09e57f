//! Tests that keep the shape: sizes, arrows, words.
