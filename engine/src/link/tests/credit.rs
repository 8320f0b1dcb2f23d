//! Credit: that the sender is told of room, whatever was granted before.

use super::super::RecvWindow;

const WINDOW: u64 = 64 * 1024;

/// Found by simulator seed 2311, once idle links no longer granted credit with every heartbeat: what the application
/// took before a frame longer than the window was no reason to grant more, and it never asked again.
#[test]
fn the_application_asks_again_when_credit_was_not_due() {
    let mut window = RecvWindow::new(WINDOW);
    assert_eq!(window.begin(), WINDOW);
    let consumption = window.consumption().clone();
    // Envelopes of half a window, then one of two windows: only its beginning needs credit.
    window.take(WINDOW / 2);
    assert!(window.admits(WINDOW / 2) && !window.admits(WINDOW / 2 + 8) && window.open(4));
    window.take(2 * WINDOW);
    window.close();
    assert!(!window.is_due(), "there is no room");
    assert_eq!(window.unread(), 2 * WINDOW + WINDOW / 2);
    assert!(!window.admits(8));
    assert!(consumption.add(WINDOW / 2), "the application asks");
    assert!(!window.look(), "but there is no room yet");
    assert!(!consumption.add(WINDOW / 4 - 8));
    assert!(consumption.add(8), "it asks again");
    assert!(!window.look());
    assert!(consumption.add(WINDOW / 4 * 3 + WINDOW / 4));
    assert!(window.look(), "a quarter of the window is free");
    assert_eq!(window.grant(), 2 * WINDOW + WINDOW / 2 + WINDOW / 4);
    assert!(window.admits(WINDOW / 4) && !window.admits(WINDOW / 4 + 8));
}

#[test]
fn a_session_begins_with_what_is_free() {
    let mut window = RecvWindow::new(WINDOW);
    assert_eq!(window.begin(), WINDOW);
    window.take(WINDOW - 8);
    assert_eq!(window.begin(), 8);
    assert!(window.open(4));
    window.take(8);
    assert!(!window.open(6), "one at a time");
    window.give_up(8);
    assert!(window.open(6));
    assert_eq!(window.begin(), 8);
    window.consumption().add(WINDOW - 8);
    assert_eq!(window.begin(), WINDOW);
}
