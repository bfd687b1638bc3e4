// Mouse, pen and touch on the canvas: one draws, two fingers zoom and move the view.

const WHEEL_LINES = 16, WHEEL_PAGES = 400;  // CSS pixels
const ZOOM_A_PIXEL = 1.0015, ZOOM_A_PINCHED_PIXEL = 1.01;
const PEN_ERASER = 32, SECONDARY = 2, MIDDLE = 4;  // of `buttons`

/** Lets pointers draw with an editor on a view's canvas; `onPick(point)` takes a label up. */
export function startPointers(editor, view, canvas, { onPick, onHover }) {
  const touches = new Map();  // fingers on the canvas and where they were last
  let drawing = null, panning = null, isPinching = false;

  const begin = (event) => {
    view.cursor = null;
    if (event.pointerType === "touch" && isOtherInUse(event)) return;
    canvas.setPointerCapture(event.pointerId);
    if (event.pointerType === "touch") touches.set(event.pointerId, event);
    if (touches.size >= 2) {
      // The first finger's stroke was the beginning of this.
      editor.cancel();
      drawing = panning = null;
      isPinching = true;
      return;
    }
    if (isPinching || drawing !== null || panning !== null) return;
    const point = view.pointAt(event);
    if (event.buttons & MIDDLE || editor.tool === "pan") {
      panning = { id: event.pointerId, x: event.clientX, y: event.clientY };
      canvas.classList.add("panning");
    } else if (event.buttons & SECONDARY || event.altKey) {
      onPick(point);
    } else {
      drawing = event.pointerId;
      editor.begin(point, event.buttons & PEN_ERASER ? "eraser" : editor.tool);
    }
  };

  // A hand that rests on the screen while a pen draws is not to draw too.
  const isOtherInUse = ({ pointerId }) =>
    drawing !== null && drawing !== pointerId && !touches.has(drawing);

  const move = (event) => {
    if (touches.has(event.pointerId)) {
      if (isPinching) pinch(event);
      touches.set(event.pointerId, event);
    }
    const hovered = event.pointerType === "touch" || isPinching ? null : view.pointAt(event);
    if (hovered) view.cursor = null;
    view.hover = hovered;
    onHover(hovered);
    if (panning?.id === event.pointerId) {
      view.pan(event.clientX - panning.x, event.clientY - panning.y);
      Object.assign(panning, { x: event.clientX, y: event.clientY });
    } else if (drawing === event.pointerId) {
      // Between two frames a quick hand moves further than one event tells.
      const all = event.getCoalescedEvents?.() ?? [];
      editor.extend((all.length ? all : [event]).map((e) => view.pointAt(e)), event.shiftKey);
    }
  };

  const pinch = (event) => {
    const others = [...touches.values()].filter(({ pointerId }) => pointerId !== event.pointerId);
    if (others.length !== 1) return;
    const [other] = others, before = touches.get(event.pointerId);
    const far = ({ clientX, clientY }) =>
      Math.hypot(clientX - other.clientX, clientY - other.clientY);
    const middle = ({ clientX, clientY }) =>
      ({ clientX: (clientX + other.clientX) / 2, clientY: (clientY + other.clientY) / 2 });
    const from = middle(before), to = middle(event);
    view.pan(to.clientX - from.clientX, to.clientY - from.clientY);
    if (far(before) > 0) view.zoom(far(event) / far(before), to);
  };

  const end = (event) => {
    touches.delete(event.pointerId);
    if (!touches.size) isPinching = false;
    if (panning?.id === event.pointerId) {
      panning = null;
      canvas.classList.remove("panning");
    }
    if (drawing !== event.pointerId) return;
    drawing = null;
    if (event.type === "pointercancel") editor.cancel();
    else editor.finish();
  };

  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", move);
  for (const type of ["pointerup", "pointercancel", "lostpointercapture"])
    canvas.addEventListener(type, end);
  canvas.addEventListener("pointerleave", () => {
    view.hover = null;
    onHover(null);
  });
  // A long press and the right button have their own meaning here; middle clicks would scroll.
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("mousedown", (event) => {
    if (event.button === 1) event.preventDefault();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = [1, WHEEL_LINES, WHEEL_PAGES][event.deltaMode];
    // Browsers tell a pinch on a trackpad as a wheel with Ctrl, in smaller steps.
    const base = event.ctrlKey ? ZOOM_A_PINCHED_PIXEL : ZOOM_A_PIXEL;
    view.zoom(base ** (-event.deltaY * unit), event);
  }, { passive: false });
}
