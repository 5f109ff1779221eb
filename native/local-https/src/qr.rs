//! QR codes in half blocks: two rows of the code in one row of the terminal.

use qrcode::render::unicode::Dense1x2;
use qrcode::types::QrError;
use qrcode::{EcLevel, QrCode};

/// Black on white, whatever the terminal's own colours are.
const INK: &str = "\x1b[38;5;16m\x1b[48;5;231m";
const PLAIN: &str = "\x1b[0m";

/// Draws `text`. Without `ansi` the code is light on dark on most terminals; cameras read both.
///
/// # Errors
/// The text is too long for a QR code.
pub fn draw(text: &str, ansi: bool) -> Result<String, QrError> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L)?;
    let (dark, light) = if ansi {
        (Dense1x2::Dark, Dense1x2::Light)
    } else {
        (Dense1x2::Light, Dense1x2::Dark)
    };
    let picture = code
        .render::<Dense1x2>()
        .dark_color(dark)
        .light_color(light)
        .quiet_zone(true)
        .build();
    if !ansi {
        return Ok(picture);
    }
    let lines: Vec<_> = picture.lines().map(|line| format!("{INK}{line}{PLAIN}")).collect();
    Ok(lines.join("\n"))
}
