// Every text that is shown, with the contrast ratio of WCAG 2 against what lies under it.
// Disabled controls are left out, as WCAG 2.1 does (1.4.3, "incidental").
() => {
  const HIDDEN = { opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true };
  const WRITTEN = 'select, textarea, input:is([type=text], [type=number], :not([type]))';
  // One pixel: the browser blends colours itself, in whatever notation the styles have them.
  const pen = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });

  const lay = (colour, alpha) => {
    pen.globalAlpha = alpha;
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };

  const luminance = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };

  const measure = (element, text) => {
    const above = [];
    for (let e = element; e; e = e.parentElement) above.unshift(getComputedStyle(e));
    pen.clearRect(0, 0, 1, 1);
    let alpha = 1;
    let under = [0, 0, 0, 0];
    for (const style of above) {
      alpha *= Number(style.opacity);
      under = lay(style.backgroundColor, alpha);
    }
    const style = above.at(-1);
    const shown = lay(style.color, alpha);
    const [dark, light] = [luminance(under), luminance(shown)].sort((a, b) => a - b);
    const place = element.id ? `#${element.id}` : `${element.localName}.${element.className}`;
    return {
      text: text.trim().slice(0, 40),
      place,
      colour: style.color,
      under: `rgb(${under.slice(0, 3)})`,
      // Where nothing opaque lies under it, nobody knows what does.
      ratio: under[3] < 255 ? 0 : (light + 0.05) / (dark + 0.05),
    };
  };

  const shown = (element, box) =>
    element.checkVisibility(HIDDEN) && box.width > 1 && box.height > 1
    && !element.closest(':disabled, [aria-disabled=true]');

  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.data.trim() || node.parentElement.closest('select, script, style')) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const clipped = node.parentElement.getBoundingClientRect();
    if (shown(node.parentElement, range.getBoundingClientRect()) && clipped.width > 1) {
      found.push(measure(node.parentElement, node.data));
    }
  }
  for (const control of document.querySelectorAll(WRITTEN)) {
    if (shown(control, control.getBoundingClientRect())) {
      found.push(measure(control, control.selectedOptions?.[0]?.text ?? control.value));
    }
  }
  return found;
}
