// @ts-check
// Written by `mix roomtone.errors` from the table in lib/roomtone/errors.ex: change it there.

/**
 * Title and advice by the code with which the server ends a call or keeps somebody out.
 *
 * @type {Record<string, {title: string, text: string}>}
 */
export const SERVER_ERRORS = {
  signed_out: {
    title: "This page is no longer signed in.",
    text: "Enter your name again to come back.",
  },
  not_let_in: {
    title: "You can't enter this room from here.",
    text: "Sign in, or ask whoever runs this page to let you in. Then join again.",
  },
  replaced: {
    title: "This call moved to another tab.",
    text: "You can bring it back to this one.",
  },
  removed: {
    title: "You were removed from the room.",
    text: "A moderator removed you. Your microphone is off. You can come back after 5 minutes.",
  },
  closed: {
    title: "The room was closed.",
    text: "Your microphone is off. Within an hour only a moderator can open the room again.",
  },
  room_ended: {
    title: "This room has ended.",
    text: "Everybody had left, or the server restarted and couldn't restore it. Your microphone is off. A new room of the same name is another one, which anybody may enter.",
  },
  draining: {
    title: "The server is about to restart.",
    text: "You'll be reconnected automatically.",
  },
};
