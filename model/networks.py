"""ResNet50 and MobileNetV2, with the parameter names of torchvision.

Architecture: He et al. 2015 (arXiv:1512.03385), with the stride in the 3x3 convolution as in
torchvision, and Sandler et al. 2018 (arXiv:1801.04381). torchvision's state dicts load
strictly.
"""

import torch
from torch import Tensor, nn

from model.signature import CLASSES

# of red, green and blue from 0 to 1; torchvision's weights were trained on images normalised so
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # planes, blocks, stride
# expansion, channels, repeats, stride: table 2 of the MobileNetV2 paper
INVERTED = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a shortcut; the output has four times `planes` channels."""

    def __init__(self, inputs: int, planes: int, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if project:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, 4 planes, H/stride, W/stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        added: Tensor = self.relu(self.bn3(self.conv3(out)) + shortcut)
        return added


class ResNet50(nn.Module):
    """25.6 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for number, (planes, blocks, stride) in enumerate(STAGES, 1):
            first = Bottleneck(inputs, planes, stride, project=True)
            inputs = 4 * planes
            rest = (Bottleneck(inputs, planes, 1, project=False) for _ in range(blocks - 1))
            self.add_module(f"layer{number}", nn.Sequential(first, *rest))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, 1000)."""
        out = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for number in range(1, len(STAGES) + 1):
            out = self.get_submodule(f"layer{number}")(out)
        logits: Tensor = self.fc(torch.flatten(self.avgpool(out), 1))
        return logits


def convolution(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> nn.Sequential:
    """Convolution, batch norm and ReLU6, padded to keep the size at stride 1."""
    padding = (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Expansion, depthwise and projection convolutions; a shortcut if the shape is unchanged."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.has_shortcut = stride == 1 and inputs == outputs
        widen = [convolution(inputs, hidden, 1, 1, 1)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *widen,
            convolution(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        out: Tensor = self.conv(x)
        return x + out if self.has_shortcut else out


class MobileNetV2(nn.Module):
    """3.5 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        channels, last = 32, 1280
        features: list[nn.Module] = [convolution(3, channels, 3, 2, 1)]
        for expansion, outputs, repeats, stride in INVERTED:
            for repeat in range(repeats):
                step = stride if repeat == 0 else 1
                features.append(InvertedResidual(channels, outputs, step, expansion))
                channels = outputs
        features.append(convolution(channels, last, 1, 1, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, 1000)."""
        logits: Tensor = self.classifier(self.features(x).mean([2, 3]))
        return logits


class FromPixels(nn.Module):
    """A network that takes images as cameras and decoders give them, and normalises them itself."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, STD))
        self.network = network
        self.scale: Tensor
        self.shift: Tensor
        # (x / 255 - mean) / std in one multiplication and one addition
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -mean / std)

    def forward(self, images: Tensor) -> Tensor:
        """Map RGB images (N, H, W, 3) of uint8 to logits (N, 1000)."""
        x = images.permute(0, 3, 1, 2).to(torch.float32)
        logits: Tensor = self.network(x * self.scale + self.shift)
        return logits


NETWORKS: dict[str, type[nn.Module]] = {"resnet50": ResNet50, "mobilenetv2": MobileNetV2}


def randomise(network: nn.Module, seed: int) -> None:
    """Set seeded random weights and batch-norm statistics, so that parity tests their folding."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
        elif isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.uniform_(module.weight, 0.5, 1.0, generator=generator)
            nn.init.normal_(module.bias, 0.0, 0.05, generator=generator)
            nn.init.normal_(module.running_mean, 0.0, 0.05, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 1.5, generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01, generator=generator)
            nn.init.zeros_(module.bias)
