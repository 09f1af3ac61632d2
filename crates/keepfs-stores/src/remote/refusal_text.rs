//! Texts of servers, made fit to be shown.

/// Most of a text that is shown, in characters.
const SHOWN_LEN_MAX: usize = 200;

/// An untrusted text on one line and of bounded length.
pub(crate) fn shown(text: String) -> String {
    let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    one_line.take(SHOWN_LEN_MAX).collect::<String>().trim().to_owned()
}
